#!/usr/bin/env bash
# with-slurm.sh COMMAND...: run a command with a SLURM, and exit with its status.
# A SLURM that $SLURM_CONF names and that answers is used, and left as it is. Otherwise a throw-away one is started for
# the command and stopped after it. Where none can be started, the command runs without.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
if [ -n "${SLURM_CONF:-}" ] && timeout 30 sinfo >/dev/null 2>&1; then exec "$@"; fi
"$here/start-slurm.sh" check || exec "$@"

# print the first of four free ports in a row
free_ports() {
  local base i
  while :; do
    base=$((20000 + RANDOM % 3000 * 4))
    for i in 0 1 2 3; do
      if (: <>"/dev/tcp/127.0.0.1/$((base + i))") 2>/dev/null; then continue 2; fi
    done
    echo $base
    return
  done
}

SLURM_STATE_DIR=$(mktemp -d /tmp/dmaelab-slurm.XXXXXX)   # of its own: nothing that already runs is stopped at the end
SLURM_PORT_BASE=$(free_ports)
export SLURM_STATE_DIR SLURM_PORT_BASE
chmod 755 "$SLURM_STATE_DIR"   # munged wants to be reachable by everyone

# shellcheck disable=SC2329  # the trap calls it
finish() {
  trap '' INT HUP TERM
  if "$here/start-slurm.sh" stop; then rm -rf "$SLURM_STATE_DIR"; fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' HUP TERM

setsid --wait "$here/start-slurm.sh" start   # setsid: Ctrl-C does not reach a half-started SLURM
eval "$("$here/start-slurm.sh" env)"

# In the background, so that the script can pass a signal on at once. The shell makes commands in the background ignore
# Ctrl-C; env undoes this.
env --default-signal=INT,QUIT "$@" <&0 &
command=$!
trap : INT   # a terminal sends Ctrl-C to the command as well
trap 'kill "$command" || true' HUP TERM
running=true
while $running; do
  rc=0
  wait "$command" || rc=$?   # a signal ends the wait early
  kill -0 "$command" 2>/dev/null || running=false
done
exit "$rc"
