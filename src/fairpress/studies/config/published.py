"""The schema of a paper's numbers, which a study's report shows next to its own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fairpress.studies.config.recipe_names import recipe_name


class Published(BaseModel):
    """Numbers of a paper, shown next to those of the study in "Size, accuracy, bias".

    Attributes
    ----------
    source
        Author, year, title.
    note
        Data and method of the measurement, where they differ from this study.
    group_sizes
        Attribute → group → rows.
    kilobytes
        Recipe → size of the file.
    bias
        Attribute → recipe → pairwise bias.
    accuracy
        Attribute → recipe → accuracy between 0 and 1 (of the networks trained for that attribute).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    note: str = ""
    group_sizes: dict[str, dict[str, int]] = Field(default_factory=dict)
    kilobytes: dict[str, float] = Field(default_factory=dict)
    bias: dict[str, dict[str, float]] = Field(default_factory=dict)
    accuracy: dict[str, dict[str, float]] = Field(default_factory=dict)


class PublishedRates(BaseModel):
    """Rates from a paper's tables, shown below those of the study.

    Attributes
    ----------
    source, note
        Author, year, title; data and method of the measurement, where they differ.
    rates
        Recipe → ``accuracy``, ``demographic_parity_difference``, ``equal_opportunity_difference``,
        ``predictive_equality_difference`` (between 0 and 1), ``kilobytes``, and below ``groups`` a group's name →
        ``accuracy``, ``tpr``, ``fpr``. In a study of several models: label of the model → these rates.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    note: str = ""
    rates: dict[str, dict[str, Any]]

    def for_part(self, labels: Collection[str]) -> dict[str, dict[str, Any]]:
        """Return recipe → rates for the part with any of these labels, or for the only part if there are none."""
        rates = next((v for k, v in self.rates.items() if k in labels), {}) if labels else self.rates
        return {recipe_name(k): v for k, v in rates.items()}
