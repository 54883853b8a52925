#!/usr/bin/python3
"""Which folder may include which (design: "Layout"), and that every folder says what it is for."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# For each folder: the folders whose headers it may include besides its own, the base and the contract (where it is above that).
COORDINATORS = {
    "agent": {"agent/*"},  # the two programs
    "agent/channel": {"agent/state"},
    "agent/control": {"agent/state", "agent/reconcile"},
    "agent/reconcile": {"agent/state", "agent/enroll", "agent/profile", "agent/channel", "agent/vault", "agent/wipe"},
    "agent/cli": {"agent/state", "agent/vault"},  # `doctor` tries what a vault needs
    "agent/wipe": {"agent/vault"},  # vault.h is its step interface
    "agent/enroll": {"agent/state"},
    "agent/mail": {"agent/mail/*"},
    "agent/mail/sync": {"agent/mail/imap"},
    "server-api/server": {"server-api/server/*"},
    "server-api/server/endpoint": {"server-api/server/*"},
    "server-api/server/auth": {"server-api/server/*"},
    "server-api/server/http": {"server-api/server/*"},
    "server-api/server/domain": {"server-api/server/store"},
    "server-api/server/store": {"server-api/server/embed"},
}
NO_SQL_NO_HTTP = re.compile(r"#include <(sqlite3|microhttpd|libpq-fe)\.h>")


def allowed(folder, target):
    if target == folder or target == "platform/base":
        return True
    if target == "server-api/contract":
        return not folder.startswith("platform")
    if target.startswith("platform/"):
        return not folder.startswith(("platform/base", "server-api/contract"))
    return any(target == rule or (rule.endswith("/*") and target.startswith(rule[:-1])) for rule in COORDINATORS.get(folder, ()))


def main():
    problems = []
    for top in ("agent", "server-api", "platform"):
        for path in sorted(ROOT.glob(top + "/**/*.[ch]")):
            folder = str(path.parent.relative_to(ROOT))
            text = path.read_text()
            for target in re.findall(r'#include "([^"]+)/[^/"]+"', text):
                if not allowed(folder, target):
                    problems.append("%s includes %s" % (path.relative_to(ROOT), target))
            if folder == "server-api/server/domain" and NO_SQL_NO_HTTP.search(text):
                problems.append("%s: no HTTP and no SQL in domain/" % path.relative_to(ROOT))
            lines = text.count("\n")
            if lines > 800:
                problems.append("%s has %d lines" % (path.relative_to(ROOT), lines))
    for top in ("agent", "server-api", "platform", "tests"):
        for folder in {p.parent for p in ROOT.glob(top + "/**/*.[chy]*")} | {ROOT / top}:
            relative = folder.relative_to(ROOT)
            if relative.parts[0] != "tests" and not (folder / "README.md").exists():
                problems.append("%s has no README.md" % relative)
    print("\n".join(sorted(problems)) or "every folder includes only what it may")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
