"""Writes tests/load/data/configs: config.json as transformers saves it with every default.

Run once for each version of transformers, in an environment that has it (torch is not needed):
python tools/golden/transformers_configs.py --out tests/load/data/configs

`use_diff=False` writes every key with its value, those of the base class included. Equal sizes in
all versions make the files comparable. A file's name is MODEL_TYPE-VERSION.json.
"""

import argparse
from pathlib import Path

import transformers

SIZES = {"hidden_size": 8, "vocab_size": 16, "eos_token_id": 3, "pad_token_id": 1}
CLASSES = {
    "MambaConfig": {"num_hidden_layers": 2},
    "Mamba2Config": {
        "num_hidden_layers": 1,
        "num_heads": 4,
        "head_dim": 4,
        "n_groups": 2,
        "state_size": 6,
        "chunk_size": 8,
    },
    "FalconMambaConfig": {"num_hidden_layers": 2},
}
# Written as they are, into the folder `blocks` beside --out: the defaults of these classes are a
# published model's, or near it.
WHOLE = ["LlamaConfig", "Qwen2Config", "Qwen3Config", "GraniteConfig", "GraniteMoeHybridConfig", "BambaConfig"]
WHOLE += ["NemotronHConfig", "JambaConfig", "FalconH1Config", "Zamba2Config"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, sizes in [*CLASSES.items(), *((name, None) for name in WHOLE)]:
        config_class = getattr(transformers, name, None)
        if config_class is None:  # the version is older than the model
            continue
        config = config_class() if sizes is None else config_class(**SIZES, **sizes)
        folder = options.out if sizes is not None else options.out.parent / "blocks"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{config.model_type}-{transformers.__version__}.json"
        path.write_text(config.to_json_string(use_diff=False))


if __name__ == "__main__":
    main()
