#!/bin/sh
# After install or upgrade: load the unit; start again only what was running.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart fpagent.service || true
fi
if [ ! -e /var/lib/weightwarden/identity.json ]; then
	echo "weightwarden-agent: to enrol this machine:"
	echo "  fpagent enroll --server https://SERVER --token TOKEN && systemctl enable --now fpagent"
fi
