#!/bin/sh
# Installs the agent's .deb below a scratch folder, looks at what came, removes and
# purges it. The machine itself is not changed. usage: test-install.sh PACKAGE.deb
set -eu
deb=$(realpath "$1")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates"
touch "$root/var/lib/dpkg/status" "$root/var/lib/dpkg/available"
in_root() { dpkg --root="$root" --force-script-chrootless --force-not-root --log=/dev/null "$@" >"$root/out" 2>&1 || { cat "$root/out"; exit 1; }; }
must() { "$@" || { echo "FAIL: $*"; exit 1; }; }

in_root -i "$deb"
for f in usr/bin/fpagent usr/lib/systemd/system/fpagent.service etc/weightwarden/agent.yaml usr/share/man/man1/fpagent.1.gz \
	usr/share/bash-completion/completions/fpagent usr/share/zsh/vendor-completions/_fpagent usr/share/fish/vendor_completions.d/fpagent.fish; do
	must test -s "$root/$f"
done
must test "$(stat -c %a "$root/var/lib/weightwarden")" = 700
must "$root/usr/bin/fpagent" check-config "$root/etc/weightwarden/agent.yaml"
must grep -q 'fpagent enroll' "$root/out"
if command -v systemd-analyze >/dev/null; then
	sed "s|/usr/bin/fpagent|$root/usr/bin/fpagent|" "$root/usr/lib/systemd/system/fpagent.service" >"$root/fpagent.service"
	must systemd-analyze verify --man=no "$root/fpagent.service"
	systemd-analyze security --offline=true --no-pager "$root/fpagent.service" | tail -n 1
fi

# An upgrade keeps the edited configuration and the state.
echo '# edited' >>"$root/etc/weightwarden/agent.yaml"
mkdir -p "$root/var/lib/weightwarden/quarantine/files" "$root/var/lib/weightwarden/spool"
echo hit >"$root/var/lib/weightwarden/spool/1"
echo weights >"$root/var/lib/weightwarden/quarantine/files/x.held"
in_root -i "$deb"
must grep -q edited "$root/etc/weightwarden/agent.yaml"
in_root -r weightwarden-agent
must test ! -e "$root/usr/bin/fpagent"
must test -e "$root/var/lib/weightwarden/spool/1"
in_root -P weightwarden-agent
must test ! -e "$root/var/lib/weightwarden/spool"
must test ! -e "$root/etc/weightwarden/agent.yaml"
must test "$(cat "$root/var/lib/weightwarden/quarantine/files/x.held")" = weights
echo "package: installed, checked, upgraded, removed, purged; quarantine kept"
