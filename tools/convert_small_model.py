"""Write SmolLM2 in the format that vLLM reads, whose GGUF plugin needs kernels that a CPU does not have.

The second half of ``make setup-vllm-cpu``; it runs in ``.venv-vllm``.
"""

import shutil
import sys
from pathlib import Path

from llm_streaming.engines.llamacpp.model_file import SMALL_MODEL, small_model_path
from llm_streaming.paths import project_root

FOLDER = project_root() / "models" / "local-chat-completions-vllm-cpu" / SMALL_MODEL


def main() -> None:
    """Convert the model, and put it in its place when it has shown that it answers."""
    print(f"Writing {FOLDER.relative_to(project_root())}", flush=True)
    draft = FOLDER.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    convert(small_model_path(), draft)
    verify(draft)
    shutil.rmtree(FOLDER, ignore_errors=True)
    draft.rename(FOLDER)


def convert(gguf: Path, folder: Path) -> None:
    """Read the weights of a GGUF file, and write them with the tokenizer and its chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.bfloat16)
    model.hf_quantizer.remove_quantization_config(model)  # its weights are plain tensors by now
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)


def verify(folder: Path) -> None:
    """Read what was written, and end with a sentence if it is not a model that chats."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    text = tokenizer.decode(answer, skip_special_tokens=True)
    if "Paris" not in text:
        sys.exit(f"The converted model answers {text!r}, and not Paris: the conversion has failed.")


if __name__ == "__main__":
    main()
