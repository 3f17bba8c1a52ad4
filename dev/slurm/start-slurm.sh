#!/usr/bin/env bash
# A real, throw-away SLURM cluster on this one machine (two nodes, loopback only), for tests. Debian 12, as root.
#   start-slurm.sh install                  get the missing packages; no other command installs anything
#   start-slurm.sh check                    can it start here? if not, say what is missing
#   start-slurm.sh start | stop | status
#   eval "$(start-slurm.sh env)"            and then use sbatch, squeue, ...
set -euo pipefail

D=$(realpath -m "${SLURM_STATE_DIR:-/tmp/dmaelab-slurm}")   # configuration, key, database, logs, PID files: all here
P=${SLURM_PORT_BASE:-16817}                 # ports: slurmctld P, slurmdbd P+1, the two slurmd P+2 and P+3
CPUS=16 MEM=64000 GPUS=8                    # of each node: bookkeeping only, nothing checks them against the machine
NODES=(0x7f000001 0x7f000002)               # names that every resolver reads as 127.0.0.1 and .2: no /etc/hosts needed
# the programs, and the Debian packages they come from
PROGRAMS="sbatch:slurm-client slurmctld:slurmctld slurmd:slurmd slurmdbd:slurmdbd munged:munge"
PROGRAMS+=" mariadbd:mariadb-server-core mariadb:mariadb-client-core"
HOSTS_LINE="127.0.0.1 $(uname -n) # dmaelab-slurm $D"
export SLURM_CONF=$D/slurm.conf MYSQL_UNIX_PORT=$D/run/mariadb.sock PATH=$PATH:/usr/sbin:/sbin

die() { echo "start-slurm: $*" >&2; exit 1; }
failed() { die "$1 does not start; the end of its log: $(tail -qn 4 "$D/log/$1"*.log 2>&1)"; }
pid_of() { cat "$D/run/$1.pid" 2>/dev/null || true; }
# is it running, and is it ours? (a stale PID may by now be another program's, or another cluster's)
alive() {
  local p; p=$(pid_of "$1")
  [ -n "$p" ] && grep -qs "^${1%%-*}" "/proc/$p/comm" && grep -qszxF "SLURM_CONF=$SLURM_CONF" "/proc/$p/environ"
}
# until_ok NAME SECONDS COMMAND...: wait for it, else give up with the end of NAME's log
until_ok() {
  local name=$1 end=$((SECONDS + $2)); shift 2
  until timeout 5 bash -c "$*" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || failed "$name"
    sleep 0.1
  done
}

missing() {
  local p; for p in $PROGRAMS; do type "${p%:*}" >/dev/null 2>&1 || printf '%s ' "${p#*:}"; done
}

install() {
  local packages output
  read -ra packages <<<"$(missing)"
  [ ${#packages[@]} != 0 ] || return 0
  [ "$(id -u)" = 0 ] || die "install needs root"
  type apt-get >/dev/null 2>&1 || die "install needs apt-get: the names of the packages are those of Debian 12"
  if [ ! -e /usr/sbin/policy-rc.d ]; then   # keep the packages from starting their own services
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
  fi
  export DEBIAN_FRONTEND=noninteractive
  output=$({ apt-get update && apt-get install -y --no-install-recommends "${packages[@]}"; } 2>&1) ||
    die "could not install ${packages[*]}: $(tail -n 4 <<<"$output")"
  echo "start-slurm: installed ${packages[*]}"
}

# Slurm listens on the address of this machine's name. Where that is not loopback, start adds a line to /etc/hosts, and
# stop takes it out again. Each cluster has its own line. The file is written in place, because containers mount it.
name_is_loopback() { getent ahostsv4 "$(uname -n)" | head -n 1 | grep -q '^127\.'; }
hosts() {
  # shellcheck disable=SC2094
  (
    flock 9
    local rest
    rest=$(grep -vxF "$HOSTS_LINE" /etc/hosts || true)
    [ "$1" = remove ] || rest=$HOSTS_LINE$'\n'$rest
    printf '%s\n' "$rest" >/etc/hosts
  ) 9</etc/hosts
}

config() {
  local host; host=$(uname -n)
  cat >"$D/slurm.conf" <<CONF
ClusterName=dmaelab
SlurmctldHost=${host%%.*}(127.0.0.1)
SlurmctldPort=$P
SlurmUser=root
SlurmdUser=root
# never the job IDs of an earlier, deleted state directory again: submitit would find the old results under them
FirstJobId=$(($(date +%s) % 60000000))
AuthType=auth/munge
# cred_expire is also how long a requeued job waits before it restarts (120 s by default)
AuthInfo=socket=$D/run/munge.sock,cred_expire=5
# bind to the address of the hostname (which is loopback, see above), not to every interface
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$D/ctld
SlurmdSpoolDir=$D/spool/%n
SlurmctldPidFile=$D/run/slurmctld.pid
SlurmdPidFile=$D/run/slurmd-%n.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
PropagateResourceLimits=NONE
MailProg=/bin/true
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
EnforcePartLimits=ALL
# look for jobs to start every second, instead of every 30 to 60
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
KillWait=5
JobRequeue=1
# a job of partition "high" preempts one of "debug": the victim gets its --signal, GraceTime seconds, then a requeue
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((P + 1))
AccountingStoragePass=$D/run/munge.sock
AccountingStorageTRES=gres/gpu
# take the sizes below as they are, even where the machine is smaller
SlurmdParameters=config_overrides
$(port=$((P + 1)); for n in "${NODES[@]}"; do
  echo "NodeName=$n NodeAddr=127.0.0.1 Port=$((port += 1)) CPUs=$CPUS RealMemory=$MEM Gres=gpu:$GPUS"
done)
PartitionName=debug Nodes=ALL Default=YES PriorityTier=1 GraceTime=30 DefaultTime=10 MaxTime=INFINITE
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF DefaultTime=10 MaxTime=INFINITE
CONF
  local i; for ((i = 0; i < GPUS; i++)); do ln -sfn /dev/null "$D/gpu/fake$i"; done   # must look like device files
  echo "Name=gpu File=$D/gpu/fake[0-$((GPUS - 1))]" >"$D/gres.conf"
  # unused, but the default looks for cgroups, which a container may lack
  echo "CgroupPlugin=cgroup/v1" >"$D/cgroup.conf"
  cat >"$D/slurmdbd.conf" <<CONF
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((P + 1))
CommunicationParameters=NoInAddrAny
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$D/run/munge.sock
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm
LogFile=$D/log/slurmdbd.log
PidFile=$D/run/slurmdbd.pid
CONF
  chmod 600 "$D/slurmdbd.conf"
}

check() {
  local packages; packages=$(missing)
  [ -z "$packages" ] || die "these packages are missing: $packages(dev/slurm/start-slurm.sh install gets them)"
  [ "$(id -u)" = 0 ] || die "start needs root"
}

start() {
  [ ${#D} -le 55 ] || die "SLURM_STATE_DIR=$D is too long: UNIX sockets below it may have 107 characters at most"
  mkdir -p "$D"/{run,log,ctld,gpu}
  if ! name_is_loopback || grep -q '# dmaelab-slurm' /etc/hosts; then hosts add; fi
  name_is_loopback || { hosts remove
    die "$(uname -n), the name of this machine, does not resolve to loopback, and a line in /etc/hosts did not help" \
      "(with no network interface but lo, the resolver wants one more address: ip addr add 127.0.0.2/8 dev lo)"; }
  config

  [ -s "$D/munge.key" ] || mungekey -c -k "$D/munge.key"
  alive munged || munged -f --socket="$D/run/munge.sock" --key-file="$D/munge.key" --seed-file="$D/munge.seed" \
    --pid-file="$D/run/munged.pid" --log-file="$D/log/munged.log" --origin=127.0.0.1 || failed munged

  local db=(--no-defaults --user=root --innodb-log-file-size=8M --innodb-use-native-aio=0)
  if [ ! -d "$D/db" ]; then
    rm -rf "$D/db.new"
    mariadb-install-db "${db[@]}" --datadir="$D/db.new" --auth-root-authentication-method=normal --skip-test-db \
      >"$D/log/mariadbd.log" 2>&1 || failed mariadbd
    mv "$D/db.new" "$D/db"
  fi
  if ! alive mariadbd; then
    setsid mariadbd "${db[@]}" --datadir="$D/db" --socket="$MYSQL_UNIX_PORT" --skip-networking \
      --pid-file="$D/run/mariadbd.pid" --innodb-flush-log-at-trx-commit=0 </dev/null >>"$D/log/mariadbd.log" 2>&1 &
  fi
  until_ok mariadbd 30 "mariadb --no-defaults -u root -e 'select 1'"

  alive slurmdbd || slurmdbd || failed slurmdbd
  until_ok slurmdbd 30 sacctmgr -n list cluster
  alive slurmctld || { sacctmgr -i add cluster dmaelab >/dev/null 2>&1 || true; slurmctld || failed slurmctld; }
  until_ok slurmctld 30 "scontrol ping | grep UP"
  local n; for n in "${NODES[@]}"; do
    mkdir -p "$D/spool/$n"
    alive "slurmd-$n" || slurmd -N "$n" || failed "slurmd-$n"
  done
  # an earlier job may have left a node drained
  scontrol update NodeName="$(IFS=,; echo "${NODES[*]}")" State=RESUME >/dev/null 2>&1 || true
  until_ok slurmd 60 "[ \$(sinfo -h -N -r -p debug -t idle,mix,alloc -o %N | wc -l) = ${#NODES[@]} ]"
  echo "SLURM is up; in your shell:  $(show_env)"
}

stop() {
  local name p i
  if alive slurmctld; then   # end the jobs first: their processes are not in any PID file
    timeout 10 squeue -h -o %A | sort -u | xargs -r timeout 10 scancel || true
    for i in $(seq 50); do [ -n "$(timeout 5 squeue -h -o %A || true)" ] || break; sleep 0.2; done
  fi
  for name in "${NODES[@]/#/slurmd-}" slurmctld slurmdbd mariadbd munged; do
    p=$(pid_of "$name")
    for i in $(seq 100); do
      alive "$name" || break
      [ "$i" != 1 ] || kill "$p" || true
      [ "$i" != 90 ] || kill -9 "$p" || true
      sleep 0.1
    done
    ! alive "$name" || die "$name (PID $p) does not stop"
    rm -f "$D/run/$name.pid"
  done
  ! grep -qsxF "$HOSTS_LINE" /etc/hosts || hosts remove
}

status() {
  local name rc=0
  for name in munged mariadbd slurmdbd slurmctld "${NODES[@]/#/slurmd-}"; do
    if alive "$name"; then echo "$name: running (PID $(pid_of "$name"))"; else echo "$name: not running"; rc=1; fi
  done
  [ $rc != 0 ] || timeout 10 sinfo || rc=1
  return $rc
}

show_env() { echo "export SLURM_CONF=$SLURM_CONF"; }

# run start or stop, only one at a time in a state directory
locked() {
  mkdir -p "$D"
  [ -O "$D" ] || die "$D belongs to another user"
  [ -n "${START_SLURM_LOCKED:-}" ] || START_SLURM_LOCKED=1 exec flock -o "$D/lock" "$BASH" "$0" "$1"
  unset START_SLURM_LOCKED
  "$1"
}

case ${1:-} in
  install | check | status) "$1" ;;
  start) check; locked start ;;
  stop) [ ! -d "$D" ] || locked stop ;;
  env) show_env ;;
  *) die "usage: $0 install | check | start | stop | status | env" ;;
esac
