"""Convert SmolLM2 from GGUF to the format that vLLM reads on a CPU: the second step of ``make setup-vllm-cpu``.

vLLM's own GGUF plugin needs GPU kernels, so it cannot read the original file here. This script runs in ``.venv-vllm``.
"""

import shutil
import sys
from pathlib import Path

from llm_streaming.engines.llamacpp.model_file import SMALL_MODEL, small_model_path
from llm_streaming.paths import project_root

FOLDER = project_root() / "models" / "local-chat-completions-vllm-cpu" / SMALL_MODEL


def main() -> None:
    """Convert the model into a temporary folder, check the converted model's answer and move the folder to `FOLDER`."""
    print(f"Writing {FOLDER.relative_to(project_root())}", flush=True)
    draft = FOLDER.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    convert(small_model_path(), draft)
    verify(draft)
    shutil.rmtree(FOLDER, ignore_errors=True)
    draft.rename(FOLDER)


def convert(gguf: Path, folder: Path) -> None:
    """Read a GGUF file and write its weights, its tokenizer and its chat template into a folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.bfloat16)
    model.hf_quantizer.remove_quantization_config(model)  # the weights are plain tensors by now
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)


def verify(folder: Path) -> None:
    """Ask the converted model one question, and exit with a message if its answer is wrong."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    text = tokenizer.decode(answer, skip_special_tokens=True)
    if "Paris" not in text:
        sys.exit(f"The conversion has failed: the converted model answers {text!r}, but the right answer is 'Paris'.")


if __name__ == "__main__":
    main()
