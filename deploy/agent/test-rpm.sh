#!/bin/sh
# Installs the agent's .rpm below a scratch folder, looks at what came and removes it.
# Its scripts are read, not run: rpm runs them in a chroot, which the folder is not.
# usage: test-rpm.sh PACKAGE.rpm
set -eu
if ! command -v rpm >/dev/null; then
	echo "SKIPPED: rpm is not installed, the .rpm was built and not tried"
	exit 0
fi
package=$(realpath "$1")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
must() { "$@" || { echo "FAIL: $*"; exit 1; }; }
in_root() { rpm --root "$root" --dbpath /rpmdb --nodeps --noscripts --nosignature "$@" >"$root/out" 2>&1 || { cat "$root/out"; exit 1; }; }

in_root -i "$package"
for f in usr/bin/fpagent usr/lib/systemd/system/fpagent.service etc/weightwarden/agent.yaml usr/share/man/man1/fpagent.1.gz \
	usr/share/bash-completion/completions/fpagent usr/share/zsh/site-functions/_fpagent usr/share/fish/vendor_completions.d/fpagent.fish; do
	must test -s "$root/$f"
done
must test "$(stat -c %a "$root/var/lib/weightwarden")" = 700
must "$root/usr/bin/fpagent" check-config "$root/etc/weightwarden/agent.yaml" >/dev/null
must test "$(rpm -qp --nosignature --configfiles "$package")" = /etc/weightwarden/agent.yaml

# Scripts are shell, and know what rpm hands them: 1 on upgrade, 0 on removal.
rpm -qp --nosignature --scripts "$package" >"$root/scripts"
for s in postinstall preuninstall postuninstall; do
	must grep -q "^$s scriptlet (using /bin/sh)" "$root/scripts"
done
must sh deploy/agent/preremove.sh 1

# A removal keeps the edited configuration and what was not delivered.
echo '# edited' >>"$root/etc/weightwarden/agent.yaml"
mkdir -p "$root/var/lib/weightwarden/spool"
echo hit >"$root/var/lib/weightwarden/spool/1"
in_root -e weightwarden-agent
must test ! -e "$root/usr/bin/fpagent"
must grep -q edited "$root/etc/weightwarden/agent.yaml.rpmsave"
must test -e "$root/var/lib/weightwarden/spool/1"
echo "rpm: installed, checked, removed; configuration and hits kept"
