"""A checkpoint to start from or to score: where it lies, what it is, and whether it can be used at all. Its weights are not read here.

Only safetensors and JSON are opened, and only architectures that transformers has code for: nothing in a checkpoint runs.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import transformers
from safetensors import SafetensorError, safe_open

from ablate.data.files import file_hash
from ablate.errors import StudyError
from ablate.model.build import count
from ablate.model.presets import window_key
from ablate.study.grid import digest
from ablate.workspace import Workspace, read_json

_HUB = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?\Z")
_DESCRIPTION = ("*.json", "*.jinja", "*.model", "*.txt")
_FILES = (*_DESCRIPTION, "*.safetensors")
_BOOKKEEPING = re.compile(
    r"model_type|architectures|transformers_version|(torch_)?dtype|use_cache|\w+_token_id|_.*|auto_map|id2label|label2id|problem_type|"
    r"task_specific_params|output_\w+|return_dict\w*|chunk_size_feed_forward|is_\w+|finetuning_task|gradient_checkpointing"
)
"""Keys of a config.json that say nothing about the shape."""
UNSTATED_WINDOW = 2048
"""Of a model whose config states none (position biases, recurrence): what lm-eval takes too."""
_COMMON = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
_MOST_LAYERS = 10_000
"""Of a shape that is tried: transformers builds layers one by one, and a model of a thousand is deep (Wang et al. 2022, 2203.00555)."""


@dataclass(frozen=True)
class Pretrained:
    """A usable checkpoint."""

    folder: Path
    model: dict[str, Any]
    """Its shape under Hugging Face's common names, as of a preset, and under "weights" the identity of its weights."""

    @property
    def window(self) -> int:
        """Tokens it sees at once."""
        return int(self.model[window_key(self.model)])


def pretrained(name: str, space: Workspace | None, key: str = "model.from") -> Pretrained:
    """What `model.from: NAME` means: `run:DIGEST` (or its first digits), a folder, or a model of the Hugging Face Hub.

    The identity is the run's digest, the hub's commit, or a hash of the weights' bytes wherever they lie. StudyError, naming the
    study's `key`, where there is nothing, or nothing that can be used.
    """
    try:
        folder, identity = _found(name, space)
        folder = folder.absolute()
        config = _config(folder, name)
        weights = _weights(folder, name)
        return Pretrained(folder, {**_model(config, folder, name), "weights": identity or _hash(weights)})
    except StudyError as e:
        raise StudyError(f"{key}: {e}") from None


def is_here(name: str) -> bool:
    """Whether no network is needed to use it; asks nobody. What is neither a folder nor a name of the hub counts as here."""
    match = _HUB.match(name)
    return _existing(name) is not None or match is None or _whole_snapshot(match) is not None


def _found(name: str, space: Workspace | None) -> tuple[Path, str | None]:
    """The folder, and the identity where no hash of the weights is needed for it."""
    kind, _, rest = name.partition(":")
    if kind == "run" and rest:
        return _run(rest, space)
    folder = _existing(name)
    return (folder, None) if folder else _hub(name)


def _existing(name: str) -> Path | None:
    path = Path(os.path.expanduser(os.path.expandvars(name)))
    try:
        return path if path.is_dir() else None
    except OSError:  # longer than a name can be, or behind a closed door
        return None


def _run(prefix: str, space: Workspace | None) -> tuple[Path, str]:
    if space is None:
        raise StudyError(f"run:{prefix}: a run of which folder? This is only known to verbs that work in one")
    found = sorted(path.parent for path in space.runs.glob(f"{prefix}*/run.json")) if re.fullmatch("[0-9a-f]+", prefix) else []
    if len(found) != 1:
        several = f"{len(found)} runs begin so ({', '.join(path.name for path in found[:3])} ...)" if found else "there is no such run"
        raise StudyError(
            f'run:{prefix}: {several} in {space.runs.absolute()}; `ablate query "select run from results"` lists them'
        )
    if not (found[0] / "train.json").exists() or not (found[0] / "model").is_dir():
        raise StudyError(
            f"run:{prefix}: the run has no finished model here (still training, failed, or keep_models dropped it)"
        )
    return found[0] / "model", f"run:{found[0].name}"


def _hub(name: str) -> tuple[Path, str]:
    """The snapshot of a hub model in the local cache, fetched where it is missing: first what describes it, so that one which cannot be
    used is refused before its weights have crossed the network."""
    match = _HUB.match(name)
    if not match:
        raise StudyError(f"{name!r} is no folder here, no run:DIGEST and no hub id such as owner/model")
    folder = _whole_snapshot(match)
    try:
        if folder is None:
            _config(Path(_snapshot(match, _DESCRIPTION)), name)
            folder = Path(_snapshot(match, _FILES))
    except (OSError, ValueError) as e:
        reason = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise StudyError(
            f"{name!r} is no folder here, and as a model of the Hugging Face Hub it is neither in the cache nor to be had: {reason}"
        ) from None
    if not any(folder.glob("model*.safetensors")):
        raise StudyError(
            f"{name}: it has no model.safetensors on the hub, and weights as pickles, which can run code, are never fetched; convert it, "
            "give the folder, or name a revision that has them: ID@REVISION (where the hub made a conversion: ID@refs/pr/NUMBER)"
        )
    return folder, f"hub:{match['name']}@{folder.name}"


def _snapshot(match: re.Match[str], patterns: tuple[str, ...], **options: Any) -> str:
    return str(huggingface_hub.snapshot_download(match["name"], revision=match["revision"], allow_patterns=list(patterns), **options))


def _whole_snapshot(match: re.Match[str]) -> Path | None:
    """The snapshot in the local cache; None where there is none, or one that lacks weights."""
    try:
        folder = Path(_snapshot(match, _FILES, local_files_only=True))
    except (OSError, ValueError):
        return None
    index = read_json(folder / "model.safetensors.index.json")
    wanted = set(index["weight_map"].values()) if index else {"model.safetensors"}
    return folder if all((folder / file).exists() for file in wanted) else None


def _config(folder: Path, name: str) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = read_json(path)
    except (OSError, ValueError) as e:
        raise StudyError(f"{name}: {path} cannot be read ({e})") from None
    if not isinstance(config, dict):
        raise StudyError(f"{name}: there is no config.json in {folder}; give the folder of a transformers checkpoint")
    family = config.get("model_type")
    if family not in transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise StudyError(
            f"{name}: transformers {transformers.__version__} has no causal language model of the type {family!r}, "
            "and code from a checkpoint is never run"
        )
    if "quantization_config" in config:
        raise StudyError(
            f"{name}: the weights are quantised, and those are neither trained nor scored here; give the checkpoint before quantisation"
        )
    return config


def _weights(folder: Path, name: str) -> list[Path]:
    found = sorted(folder.glob("model*.safetensors"))
    for path in found:
        try:
            with safe_open(path, framework="numpy"):
                pass
        except (OSError, SafetensorError) as e:
            raise StudyError(f"{name}: {path} is no safetensors file, or a damaged one ({e}); copy or fetch it again") from None
    if found:
        return found
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
    if pickles:
        raise StudyError(
            f"{name}: {folder} holds its weights as {pickles[0]}, a pickle, which can run code and is never opened; "
            "convert it, such as by loading it with transformers and calling save_pretrained"
        )
    raise StudyError(f"{name}: there is no model.safetensors in {folder}")


def _hash(weights: list[Path]) -> str:
    return f"sha256:{digest({path.name: file_hash(path) for path in weights})}"


def _model(config: dict[str, Any], folder: Path, name: str) -> dict[str, Any]:
    """The shape. StudyError where transformers cannot build a model of it."""
    try:
        model = _shape(config)
        if nothing := [key for key in _COMMON if model[key] < 1]:
            raise ValueError(f"{nothing[0]} is {model[nothing[0]]}")
        count(model)
    except Exception as e:  # every architecture refuses what it likes, each in its own way
        reason = " ".join(str(e).split()) or type(e).__name__
        raise StudyError(f"{name}: {folder / 'config.json'} does not describe a model that transformers can build: {reason}") from None
    return model


def _shape(config: dict[str, Any]) -> dict[str, Any]:
    """The config's values as written, under common names; dropout is 0, as a resumed run must repeat itself."""
    names = transformers.CONFIG_MAPPING[config["model_type"]].attribute_map
    common = {own: name for name, own in names.items() if name in (*_COMMON, "max_position_embeddings")}
    values = {common.get(key, key): value for key, value in config.items() if not _BOOKKEEPING.fullmatch(key)}
    layers = values.get("num_hidden_layers")
    if isinstance(layers, int | float) and layers > _MOST_LAYERS:
        raise ValueError(f"num_hidden_layers is {layers:,}, more than {_MOST_LAYERS:,}")
    made = transformers.AutoConfig.for_model(**config)
    values |= {key: getattr(made, key) for key in (*_COMMON, "tie_word_embeddings") if key not in values}
    values |= {key: 0.0 for key, value in made.to_dict().items() if re.search("drop", key) and isinstance(value, float)}
    if window_key(values) not in values:
        values["max_position_embeddings"] = getattr(made, "max_position_embeddings", UNSTATED_WINDOW)
    return {"family": config["model_type"], **values}
