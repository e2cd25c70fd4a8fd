#!/bin/sh
# Before removal, not before an upgrade (deb: "upgrade", rpm: 1).
set -e
case "${1:-}" in upgrade | 1) exit 0 ;; esac
if [ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ]; then
	systemctl disable --now fpagent.service || true
fi
