"""Runs one demo from a JSON specification and prints its summary."""

import json
import sys
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec

from tapeline.bytecode import use_cache

use_cache()
from tapeline import lockstep
from tapeline.demo import DemoOptions, run_demo
from tapeline.role_main import run_loop

lockstep._ASK_AFTER_S = 0.2  # roles that were ready before the driver listened are asked sooner


def main() -> int:
    spec = json.loads(sys.argv[1])
    fields: dict = {}
    arguments = iter(spec["arguments"])
    for name in arguments:
        value = next(arguments)
        key = {
            "--bars": "bars",
            "--speed": "speed",
            "--seed": "seed",
            "--symbols": "symbols",
            "--strategy": "strategy",
            "--for": "seconds",
            "--from": "from_",
            "--to": "to",
            "--crypto-fee-bps": "crypto_fee_bps",
            "--bot": "bots",
        }[name]
        convert = {
            "bars": Path,
            "seed": int,
            "seconds": float,
            "from_": datetime.fromisoformat,
            "to": datetime.fromisoformat,
            "crypto_fee_bps": float,
            "symbols": lambda text: tuple(text.split(",")),
            "bots": lambda text: tuple(map(Path, text.split(","))),
        }.get(key, str)
        fields[key] = convert(value)
    if fields.get("speed", "max") != "max":
        fields["speed"] = float(fields["speed"])
    options = DemoOptions(data_dir=Path(spec["data_dir"]), settings=spec["settings"], show="nothing", **fields)

    async def play() -> int:
        summary = await run_demo(options)
        print(msgspec.json.encode(summary).decode())
        return 0

    return run_loop(play())


if __name__ == "__main__":
    sys.exit(main())
