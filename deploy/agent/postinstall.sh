#!/bin/sh
# After install or upgrade: load the unit; start again only what was running.
# DPKG_ROOT is set when dpkg installs below another root; the running system is then
# not the one that is changed.
set -e
root=${DPKG_ROOT:-}
if [ -z "$root" ] && [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart fpagent.service || true
fi
if [ ! -e "$root/var/lib/weightwarden/identity.json" ]; then
	echo "weightwarden-agent: to enrol this machine:"
	echo "  fpagent enroll --server https://SERVER --token TOKEN && systemctl enable --now fpagent"
fi
