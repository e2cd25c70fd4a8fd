"""Parses the rules of deploy/sigma with pySigma; every error is printed.

usage: sigma_rules.py FILE ...
"""
import sys

from sigma.collection import SigmaCollection

failed = False
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as f:
        rules = SigmaCollection.from_yaml(f.read(), collect_errors=True)
    errors = list(rules.errors) + [e for r in rules.rules for e in r.errors]
    failed = failed or bool(errors) or not rules.rules
    print(f"{path}: {len(rules.rules)} rules", *errors, sep="\n  ")
sys.exit(1 if failed else 0)
