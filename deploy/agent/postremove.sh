#!/bin/sh
# State with hits that were not delivered is kept until the package is purged, and
# files that were moved aside are never deleted, not even then.
set -e
root=${DPKG_ROOT:-}
state=$root/var/lib/weightwarden
if [ "${1:-}" = purge ] && [ -d "$state" ]; then
	find "$state" -mindepth 1 -maxdepth 1 ! -name quarantine -exec rm -rf {} +
	rm -f "$root/etc/weightwarden/agent.yaml"
	if [ -n "$(find "$state/quarantine" -name '*.held' 2>/dev/null | head -n 1)" ]; then
		echo "weightwarden-agent: $state/quarantine holds files that were moved aside; it is kept"
	else
		rm -rf "$state"
	fi
fi
if [ -z "$root" ] && [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
