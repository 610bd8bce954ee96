"""A causal network of random weights with its tokenizer, and tasks for it, made without a download."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

WORDS = "the a of river stone bird red blue green tall small runs sleeps eats house tree yes no one two three".split()  # noqa: SIM905
LANGUAGES = ("eng", "swa", "amh")
ITEMS = 20


def sentence(length: int) -> str:
    return " ".join(random.choice(WORDS) for _ in range(length))


def write_lm_eval_tasks(folder: Path) -> None:
    """Write tasks of lm-evaluation-harness with their data: multiple choice, generation, perplexity."""
    header = "dataset_path: json\ndataset_kwargs: {data_files: {test: %s}}\ntest_split: test\n"
    for language in LANGUAGES:
        data = folder / f"{language}.jsonl"
        items = [
            {
                "question": sentence(6),
                "choices": [sentence(random.randint(1, 4)) for _ in range(4)],
                "answer": random.randrange(4),
                "category": random.choice(("law", "health")),
            }
            for _ in range(ITEMS)
        ]
        data.write_text("".join(json.dumps(x) + "\n" for x in items))
        (folder / f"toymc_{language}.yaml").write_text(
            f"task: toymc_{language}\n{header % data}"
            'output_type: multiple_choice\ndoc_to_text: "{{question}}\\nAnswer:"\ndoc_to_choice: choices\n'
            "doc_to_target: answer\nmetric_list: [{metric: acc}, {metric: acc_norm}]\n"
        )
    common = header % (folder / "eng.jsonl")
    (folder / "toyyn.yaml").write_text(
        f'task: toyyn\n{common}output_type: multiple_choice\ndoc_to_text: "{{{{question}}}}?"\n'
        'doc_to_choice: ["no", "yes"]\ndoc_to_target: "{{answer % 2}}"\nmetric_list: [{metric: acc}]\n'
    )
    (folder / "toygen.yaml").write_text(
        f'task: toygen\n{common}output_type: generate_until\ndoc_to_text: "{{{{question}}}}?"\ndoc_to_target: category\n'
        "repeats: 2\ngeneration_kwargs: {max_gen_toks: 4, do_sample: true, temperature: 1.0}\n"
        "filter_list:\n- {name: first, filter: [{function: take_first}]}\n"
        "- {name: word, filter: [{function: regex, regex_pattern: '([a-z]+)'}, {function: take_first}]}\n"
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n"
    )
    (folder / "toyppl.yaml").write_text(
        f'task: toyppl\n{common}output_type: loglikelihood_rolling\ndoc_to_text: ""\ndoc_to_target: question\n'
        "metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]\n"
    )


def write_models(folder: Path) -> None:
    """Write a network and one with coarser weights."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([sentence(20) for _ in range(200)], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    fast.chat_template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    torch.manual_seed(0)
    network = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(fast),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=512,
            bos_token_id=0,
            eos_token_id=1,
        )
    )
    for name in ("base", "q4"):
        network.save_pretrained(folder / name)
        fast.save_pretrained(folder / name)
        with torch.no_grad():
            for weights in network.parameters():
                weights.copy_((16 * weights).round() / 16)


def write_inspect_logs(folder: Path) -> None:
    """Let inspect_ai evaluate both networks on two tasks, and write .eval and .json logs."""
    from inspect_ai import Epochs, Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import GenerateConfig, get_model
    from inspect_ai.scorer import choice, includes
    from inspect_ai.solver import generate, multiple_choice

    def metadata() -> dict[str, str]:
        return {"language": random.choice(LANGUAGES)}

    letters = [
        Sample(
            id=f"q{i}",
            input=sentence(5),
            choices=["x", "y", "z"],
            target=random.choice("ABC"),
            metadata=metadata(),
        )
        for i in range(ITEMS)
    ]
    words = [
        Sample(input=sentence(4), target=random.choice("aeiou"), metadata=metadata()) for _ in range(ITEMS)
    ]
    tasks = [
        Task(
            name="toymc",
            dataset=MemoryDataset(letters),
            solver=multiple_choice(),
            scorer=choice(),
            epochs=Epochs(2),
        ),
        Task(name="toyqa", dataset=MemoryDataset(words), solver=generate(), scorer=includes()),
    ]
    for name, log_format in (("base", "eval"), ("q4", "json")):
        model = get_model(
            f"hf/{name}", model_path=str(folder / name), device="cpu", config=GenerateConfig(max_tokens=8)
        )
        eval(
            tasks, model=model, log_dir=str(folder / "inspect" / name), display="none", log_format=log_format
        )


if __name__ == "__main__":
    random.seed(0)
    place = Path(sys.argv[2]).resolve()
    {"models": write_models, "tasks": write_lm_eval_tasks, "inspect": write_inspect_logs}[sys.argv[1]](place)
