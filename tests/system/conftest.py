"""What all system tests share: where the programs are, and the modules beside this file."""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
os.environ["SATCHEL_BUILD"] = str(pathlib.Path(os.environ.get("SATCHEL_BUILD", HERE.parent.parent / "build-asan")).resolve())
