"""Lightning: a callback that logs the worst group's bound, for checkpoints and early stopping."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fairpress.core.errors import MissingExtra
from fairpress.integrations.guard import Guard
from fairpress.integrations.model_outputs import Call, outputs_of


def guard_callback(guard: Guard, batches: Iterable[Any], call: Call | None = None) -> Any:
    """Return a callback that logs ``group_score`` and ``group_loss_bound`` after every validation.

    Put it before ``ModelCheckpoint(monitor="group_score", mode="max")`` and ``EarlyStopping``, which then choose by the
    worst group. The sanity check before training is left out.

    Parameters
    ----------
    batches
        The inputs of the loop's rows in their order, which can be iterated again.
    call
        How to run the module on a batch (`model_outputs.outputs_of`).

    Raises
    ------
    MissingExtra
        Neither ``lightning`` nor ``pytorch_lightning`` is installed.
    """
    callback: Any = _callback_class()

    class GuardCallback(callback):  # type: ignore[misc]
        """Logs the worst group's bound."""

        def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            if trainer.sanity_checking:
                return
            bound = guard.worst(outputs_of(pl_module, batches, call)).upper
            for name, value in (("group_score", 1 - bound), ("group_loss_bound", bound)):
                pl_module.log(name, value, prog_bar=False, logger=True)

    return GuardCallback()


def _callback_class() -> Any:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        try:
            from pytorch_lightning import Callback
        except ImportError:
            raise MissingExtra("The Lightning callback", "lightning") from None
    return Callback
