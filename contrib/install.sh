#!/bin/sh
# Installs gollm for the whole machine from a built tree, or takes it away again. `--help` says how.
# It is written for any POSIX sh, since it runs on machines that are not ours.
set -eu

usage() {
    cat <<'TEXT'
Installs gollmd and gollmctl for the machine, as a systemd service with its socket. Run it again to upgrade.

Usage: contrib/install.sh [--from DIR] [--prefix DIR] [--dry-run]
       contrib/install.sh --uninstall [--purge [--yes]] [--dry-run]

  --from DIR    where the built programs are [default: $CARGO_TARGET_DIR/release, or target/release]
  --prefix DIR  where they go, below bin/ and share/ [default: /usr/local]
  --dry-run     say what would be done, and do nothing
  --uninstall   stop gollmd; remove programs and units; keep configuration, store, master secret and user
  --purge       with --uninstall: remove those too. Keys that are only in the store are then lost
  --yes         purge without asking

An existing configuration is never touched. Units belong to this script: change them with `systemctl edit gollmd`.
TEXT
}

say() { printf '%s\n' "$*"; }
die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}
wrong() {
    printf 'install.sh: %s\nTry contrib/install.sh --help\n' "$*" >&2
    exit 2
}

tree=$(cd "$(dirname "$0")/.." && pwd)
# What this script has put where, with checksums: to remove all of it and nothing else, and to see what was changed by hand.
manifest=/var/lib/gollm-install/files
from='' prefix=/usr/local dry=no uninstall=no purge=no yes=no scratch='' half=''

while [ $# -gt 0 ]; do
    case $1 in
    --from | --prefix)
        [ $# -gt 1 ] || wrong "$1 needs a directory"
        if [ "$1" = --from ]; then from=$2; else prefix=${2%/}; fi
        shift
        ;;
    --from=*) from=${1#*=} ;;
    --prefix=*) prefix=${1#*=} prefix=${prefix%/} ;;
    --dry-run) dry=yes ;;
    --uninstall) uninstall=yes ;;
    --purge) purge=yes ;;
    --yes) yes=yes ;;
    -h | --help)
        usage
        exit
        ;;
    *) wrong "what is $1?" ;;
    esac
    shift
done
[ $purge = no ] || [ $uninstall = yes ] || wrong "--purge goes with --uninstall"

trap 'rm -rf "$scratch" "$half"' EXIT
trap 'exit 1' HUP INT TERM

# Does it, or with --dry-run says it.
act() {
    if [ $dry = yes ]; then say "would: $*"; else "$@"; fi
}

runs() { [ -d /run/systemd/system ]; }
active() { runs && systemctl is-active --quiet "$1"; }

check_machine() {
    [ $dry = yes ] || [ "$(id -u)" -eq 0 ] || die "this needs root: run it with sudo"
    command -v systemctl >/dev/null || die "there is no systemd here: copy the programs alone, install -m 755 gollmd gollmctl /usr/local/bin/"
    if [ "$(dpkg-query -W -f '${db:Status-Status}' gollm 2>/dev/null)" = installed ]; then
        die "gollm is here as a Debian package: upgrade or remove that with apt, or \`apt remove gollm\` first, which keeps store and configuration"
    fi
}

check_prefix() {
    case $prefix in
    /home | /home/* | /root | /root/* | /run | /run/* | /tmp | /tmp/* | /var/tmp | /var/tmp/*)
        die "gollmd's sandbox hides $prefix from it: choose another --prefix, such as /usr/local or /opt/gollm"
        ;;
    *[!A-Za-z0-9/._+-]* | *..* | '') die "--prefix has to be a plain path with letters, digits and /._+-, such as /opt/gollm" ;;
    /*) ;;
    *) die "--prefix has to begin with /: --prefix $PWD/$prefix" ;;
    esac
}

find_programs() {
    [ -n "$from" ] || from=${CARGO_TARGET_DIR:-$tree/target}/release
    for program in gollmd gollmctl; do
        [ -x "$from/$program" ] || die "there is no $from/$program: run \`cargo build --release --locked\`, or name the programs' directory with --from"
        # A program that can't start here is found now and not by the restart.
        "$from/$program" --version >/dev/null || die "$from/$program does not run on this machine: build it here"
    done
}

# All that is installed, one a line: mode, source, destination. The path of the tree may have blanks, so the source is last.
files() {
    share=$prefix/share
    cat <<LIST
755 $prefix/bin/gollmd $from/gollmd
755 $prefix/bin/gollmctl $from/gollmctl
755 $prefix/lib/gollm/seal-master $tree/contrib/seal-master
644 /etc/systemd/system/gollmd.service $scratch/system/gollmd.service
644 /etc/systemd/system/gollmd.socket $scratch/system/gollmd.socket
644 /etc/systemd/user/gollmd.service $scratch/user/gollmd.service
644 /etc/systemd/user/gollmd.socket $scratch/user/gollmd.socket
644 /etc/sysusers.d/gollm.conf $tree/systemd/gollm.sysusers
644 /etc/tmpfiles.d/gollm.conf $tree/systemd/gollm.tmpfiles
644 $prefix/lib/systemd/catalog/gollm.catalog $tree/contrib/gollm.catalog
644 $share/man/man8/gollmd.8 $tree/contrib/man/gollmd.8
644 $share/man/man1/gollmctl.1 $tree/contrib/man/gollmctl.1
644 $share/bash-completion/completions/gollmd $tree/contrib/completions/gollmd.bash
644 $share/bash-completion/completions/gollmctl $tree/contrib/completions/gollmctl.bash
644 $share/zsh/site-functions/_gollmd $tree/contrib/completions/_gollmd
644 $share/zsh/site-functions/_gollmctl $tree/contrib/completions/_gollmctl
644 $share/fish/vendor_completions.d/gollmd.fish $tree/contrib/completions/gollmd.fish
644 $share/fish/vendor_completions.d/gollmctl.fish $tree/contrib/completions/gollmctl.fish
644 $share/doc/gollm/gollm-config.yaml.example $tree/gollm-config.yaml.example
644 $share/doc/gollm/LICENSE $tree/LICENSE
LIST
}

# Is the file as this script left it?
ours() { [ -f "$manifest" ] && grep -qxF "$(sha256sum "$1")" "$manifest"; }

# Whoever starts a program meanwhile gets the old one or the new one, and never half of one.
put() {
    mode=$1 to=$2 source=$3
    if cmp -s "$source" "$to"; then
        # Its mode may have been changed nevertheless.
        act chmod "$mode" "$to"
        return
    fi
    case $to in /etc/*)
        if [ -e "$to" ] && ! ours "$to"; then
            say "$to was changed by hand: what it was is now $to.old; changes belong in \`systemctl edit\`"
            act cp -p "$to" "$to.old"
        fi
        ;;
    esac
    if [ $dry = yes ]; then
        say "would: install $to"
        return
    fi
    mkdir -p "${to%/*}"
    half=$to.new.$$
    cp "$source" "$half"
    chown 0:0 "$half"
    chmod "$mode" "$half"
    mv -f "$half" "$to"
    half=''
}

# With its directory, if that is gollm's own and empty.
take_away() {
    act rm -f "$1"
    case $1 in */gollm/*) [ $dry = yes ] || rmdir "${1%/*}" 2>/dev/null || : ;; esac
}

# Files that an earlier version had, or that lie below another prefix.
remove_stale() {
    [ -f "$manifest" ] || return 0
    while read -r _ old; do
        cut -d' ' -f2 "$scratch/files" | grep -qxF "$old" || take_away "$old"
    done <"$manifest"
}

remember() {
    [ $dry = no ] || return 0
    mkdir -p "${manifest%/*}"
    cut -d' ' -f2 "$scratch/files" | xargs sha256sum >"$manifest.new"
    mv "$manifest.new" "$manifest"
}

install_all() {
    umask 022
    check_prefix
    find_programs
    first=yes
    [ ! -f "$manifest" ] || first=no
    scratch=$(mktemp -d)
    "$tree/contrib/units" "$prefix/bin" "$scratch"
    files >"$scratch/files"
    while read -r mode to source; do put "$mode" "$to" "$source"; done <"$scratch/files"
    remove_stale
    remember
    act systemd-sysusers /etc/sysusers.d/gollm.conf
    # In a chroot without /proc it fails; the machine does it when it boots.
    act systemd-tmpfiles --create /etc/tmpfiles.d/gollm.conf || ! runs || die "the directories could not be made: what systemd-tmpfiles said is above"
    # From the place where it can be run again later, which its messages name.
    act "$prefix/lib/gollm/seal-master"
    start
    if [ $dry = yes ]; then return; fi
    if [ $first = yes ]; then next_steps; else say "gollm is upgraded: $("$prefix/bin/gollmd" --version)"; fi
}

start() {
    if runs; then
        act systemctl daemon-reload
        # What the messages mean, for `journalctl -x`: without it the log is as good but for that.
        act journalctl --update-catalog || true
    fi
    # An administrator's choice to have the socket or not is made once, and kept.
    if [ $first = yes ] && ! active gollmd.service; then
        act systemctl enable --quiet gollmd.socket
        if runs; then act systemctl start gollmd.socket; fi
    fi
    if active gollmd.service; then
        act systemctl try-restart gollmd.service || die "the new gollmd does not start: \`journalctl -u gollmd -n 20\` says why"
    fi
}

next_steps() {
    config=/etc/gollm/gollm-config.yaml
    say "gollm is installed: $("$prefix/bin/gollmd" --version). What is left to do:"
    if [ -e $config ]; then
        say "  sudo gollmctl config check        the configuration that is there was not touched"
    else
        say "  sudo install -m 640 -g gollm gollm-config.yaml $config"
        say "                                    your configuration; $prefix/share/doc/gollm/gollm-config.yaml.example has all options"
    fi
    runs || say "  boot with systemd                 it does not run here; gollmd.socket is enabled"
    say "  sudo gollmctl key set openai/primary   its secret is asked for"
    say "  sudo gollmctl status              the first caller starts gollmd"
}

# What --purge removes, as far as it is there.
kept() {
    for path in /etc/gollm /var/lib/gollm /etc/credstore.encrypted/gollm-master /etc/systemd/system/gollmd.service.d /etc/systemd/system/gollmd.socket.d; do
        if [ -e "$path" ]; then say "$path"; fi
    done
}

user_is_there() { getent passwd gollm >/dev/null; }

confirm_purge() {
    [ $purge = yes ] || return 0
    say "To be removed for good, with every key, count and audit entry in it:"
    kept | sed 's/^/  /'
    if user_is_there; then say "  the user and the group gollm"; fi
    if [ $yes = yes ] || [ $dry = yes ]; then return; fi
    [ -t 0 ] || die "nothing was removed, since nobody can be asked here: give --yes"
    printf 'Remove all of it? [y/N] '
    read -r answer
    case $answer in y | Y | yes) ;; *) die "nothing was removed" ;; esac
}

uninstall_all() {
    confirm_purge
    if [ -f "$manifest" ]; then
        if runs; then act systemctl stop gollmd.socket gollmd.service; fi
        act systemctl disable --quiet gollmd.socket gollmd.service
        while read -r _ path; do
            case $path in /etc/*)
                if [ -e "$path" ] && ! ours "$path"; then
                    say "$path was changed by hand: it is kept as $path.old"
                    act cp -p "$path" "$path.old"
                fi
                ;;
            esac
            take_away "$path"
        done <"$manifest"
        act rm -f "$manifest"
        act rmdir "${manifest%/*}"
        # The unit leaves its socket's directory between two starts.
        act rm -rf /run/gollm
        if runs; then act systemctl daemon-reload; fi
        [ $dry = yes ] || say "gollm is removed."
    elif [ $purge = no ]; then
        die "nothing of this script is here: $manifest is missing. What was installed by hand is removed by hand"
    fi
    if [ $purge = yes ]; then
        kept | while read -r path; do act rm -rf "$path"; done
        if user_is_there; then act userdel gollm; fi
        # userdel leaves a group that has other members.
        if [ $dry = no ] && getent group gollm >/dev/null; then groupdel gollm; fi
        [ $dry = yes ] || say "Configuration, store, master secret and user are removed."
    else
        say "Kept, for the next installation:"
        kept | sed 's/^/  /'
        say "\`contrib/install.sh --uninstall --purge\` removes that as well."
    fi
}

check_machine
if [ $uninstall = yes ]; then uninstall_all; else install_all; fi
