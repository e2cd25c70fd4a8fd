#!/bin/sh
# State with hits that were not delivered is kept until the package is purged.
set -e
if [ "${1:-}" = purge ]; then
	rm -rf /var/lib/weightwarden /etc/weightwarden/agent.yaml
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
