#!/bin/sh
# Runs the tests in a browser; installs the browser and two npm packages where it may.
# Where they cannot be had it says so and exits 0: no test of the product failed.
set -eu
cd "$(dirname "$0")"
skip() { echo "SKIPPED: the tests in a browser did not run: $*"; exit 0; }
command -v node >/dev/null && command -v npm >/dev/null || skip "there is no node and npm (20 or later)"
chromium=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
if [ -z "$chromium" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		{ apt-get install -y --no-install-recommends chromium || { apt-get update && apt-get install -y --no-install-recommends chromium; }; } >/dev/null 2>&1 || skip "chromium cannot be installed"
		chromium=$(command -v chromium)
	else
		skip "there is no chromium; CHROMIUM=/path/to/it names one"
	fi
fi
if ! npm ci --no-audit --no-fund --loglevel=error; then
	npm ping >/dev/null 2>&1 && { echo "npm ci failed and the registry answers"; exit 1; }
	skip "the npm registry cannot be reached"
fi
CHROMIUM=$chromium npm test --silent -- "$@"
