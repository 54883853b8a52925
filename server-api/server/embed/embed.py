#!/usr/bin/env python3
"""embed.py OUT.c SYMBOL FILE...: the files as a C array of `struct embedded` (embed.h), in the order given."""

import pathlib
import sys


def main():
    out, symbol, files = sys.argv[1], sys.argv[2], sys.argv[3:]
    text = ['#include "server-api/server/embed/embed.h"\n']
    rows = []
    for number, name in enumerate(files):
        data = pathlib.Path(name).read_bytes()
        body = ",".join(str(byte) for byte in data + b"\0")
        text.append(f"static const unsigned char file_{number}[] = {{{body}}};")
        rows.append(f'{{"{pathlib.Path(name).name}", (const char *)file_{number}, {len(data)}}}')
    text.append(f"const struct embedded {symbol}[] = {{{', '.join(rows)}}};")
    text.append(f"const size_t {symbol}_count = {len(files)};\n")
    pathlib.Path(out).write_text("\n".join(text), encoding="ascii")


main()
