#!/bin/bash
# Runs one array element of a stage on its node, outside any image: the same line for the engine and for the templates.
#
#     bash stage.sh RUN ROUND STAGE [-- COMMAND …]
#
# Without a COMMAND it runs the stage's own entry with $SELU_PYTHON, inside the run's image if it has one (image.json).
# Either gets `--shard N --attempt M` appended.
#
# Owns what must happen beside Slurm and not in the image: the attempt's folder, its record (job.json), private /tmp,
# one srun step, passing warnings on to it, and requeueing the element when the stage asks for it (exit code 75),
# unless it asks time after time without getting any farther.
# SELU_OFFSET is added to the array index; SELU_RANKS is the number of processes of the one step.
set -uo pipefail
umask "${SELU_UMASK:-$(umask)}"

if (( $# < 3 )); then
    echo "usage: bash stage.sh RUN ROUND STAGE [-- COMMAND …]" >&2
    exit 2
fi
run=$1 round=$((10#$2)) stage=$3
shift $(( $# > 3 ? 4 : 3 ))
if (( $# == 0 )); then
    set -- "${SELU_PYTHON:-python3}" -u -m
    case $stage in
        gate) set -- "$@" selu_hpc.stages.gate ;;
        *)
            if [[ -f $run/image.json ]]; then
                set -- "$@" selu_hpc.containers.launch --stage "$stage"
            elif [[ $stage == finetune_* ]]; then
                set -- "$@" selu_hpc.stages.finetune --role "${stage#finetune_}"
            else
                set -- "$@" "selu_hpc.stages.$stage"
            fi
            ;;
    esac
    set -- "$@" --run "$run" --round "$round"
fi
offset=${SELU_OFFSET:-0} ranks=${SELU_RANKS:-1} max_requeues=${SELU_MAX_REQUEUES:-100} max_stalls=3
shard=$((offset + ${SLURM_ARRAY_TASK_ID:-0}))
element=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}}
element=${element:-${SLURM_JOB_ID:?this script is started by sbatch}}
restarts=${SLURM_RESTART_COUNT:-0}
printf -v place '%s/rounds/%02d/%s/shard-%04d' "$run" "$round" "$stage" "$shard"

refuse_foreign_code() {
    local folder mode
    for folder in "$run" "$run/code"; do
        mode=$(stat -Lc %a -- "$folder" 2>/dev/null) || continue
        if (( 8#$mode & 8#002 )); then
            echo "error: $folder may be written by everyone: no job runs code from it; chmod o-w it" >&2
            exit 77
        fi
    done
}

# A run that was deleted or moved away, with another in its place, has left its jobs in the queue.
refuse_another_runs() {
    local name=${SLURM_JOB_NAME-}
    if [[ $name =~ ^selu-[0-9a-f]{8}- && ! -f $run/jobs/$name.sh ]]; then
        echo "error: $name is a job of another run, which lay in $run before; nothing is done for it" >&2
        exit 77
    fi
}

# The first number nobody has used: mkdir is atomic on NFS too, so a requeued element never shares a folder.
new_attempt() {
    mkdir -p -- "$place" || exit 73
    attempt=0
    until mkdir -- "$place/attempt-$attempt" 2>/dev/null; do
        [[ -d $place/attempt-$attempt ]] || { echo "error: cannot write in $place" >&2; exit 73; }
        attempt=$((attempt + 1))
    done
    folder=$place/attempt-$attempt
}

# Into a variable, by the shell itself: the signal that ends a job would end a `date` as well.
clock() {
    local now=${EPOCHREALTIME-}
    now=${now/,/.}
    [[ $now ]] || printf -v now '%(%s)T' -1
    printf -v "$1" '%s' "$now"
}

record() {
    local fields=$1
    printf '{"name": "%s", "job": "%s", "restart": %d, "node": "%s", "begun": %s%s}\n' "${SLURM_JOB_NAME//[\"\\]/}" \
        "$element" "$restarts" "${SLURMD_NODENAME:-$(hostname)}" "$begun" "$fields" > "$folder/.job.json" &&
        mv -f -- "$folder/.job.json" "$folder/job.json"
}

# Whether to ask once more after these words of scontrol's: until `patience` where slurmctld is silent, never where it
# refuses.
silent() {
    local words='[Uu]nable to contact|[Tt]imed out|[Tt]emporarily|[Tt]ry again|[Cc]onnection re|[Zz]ero [Bb]ytes'
    [[ $1 =~ $words ]] && (( SECONDS < patience )) && sleep 5
}

# What slurmctld knows of this element, into `now`; nothing where it does not answer.
look() {
    until now=$(scontrol show job "$element" --oneliner 2>&1); do
        silent "$now" || { now=''; return; }
    done
}

requeue() {
    local said
    until said=$(scontrol requeue "$element" 2>&1); do
        echo "error: scontrol requeue $element: $said" >&2
        silent "$said" || return 1
        look
        [[ $now == *JobState=RUNNING* ]] || return 1 # cancelled in the meantime
    done
}

# A number out of a record of one line, into `found`; 0 where it has none.
number() {
    local line=''
    found=0
    [[ -r $2 ]] && read -r line < "$2"
    [[ $line =~ \"$1\":\ ([0-9]+) ]] && found=${BASH_REMATCH[1]}
}

# How far the shard is, and how often in a row its time was over before it got any farther. A preemption counts for
# neither side; of a stage that has several parts, each with a total of its own, the next part is farther.
measure() {
    local before=$attempt best=0 whole=0
    stalled=0
    while (( before-- > 0 )); do
        number stalled "$place/attempt-$before/job.json" || continue
        stalled=$found
        number "done" "$place/attempt-$before/job.json" && best=$found
        number total "$place/attempt-$before/job.json" && whole=$found
        break
    done
    (( stalled < max_stalls )) || stalled=$((max_stalls - 1)) # more time did not help it
    number "done" "$folder/progress.json"
    reached=$found
    number total "$folder/progress.json"
    total=$found
    if (( total > 0 && whole > 0 && total != whole )) || (( reached > best )); then
        stalled=0
    else
        reached=$best total=$((total > 0 ? total : whole))
        case $told$now in
            *PreemptTime=2*) ;;
            USR2* | JobId=*JobState=RUNNING*) stalled=$((stalled + 1)) ;; # warned of its limit, or told by nobody
        esac
    fi
}

# shellcheck disable=SC2317 # the traps call it
forward() {
    told=$1
    [[ -n ${step:-} ]] && passed=yes && kill -s "$1" "$step" 2>/dev/null
}

# A token of the login node's, which may be out of date here, where the node vouches for us.
unset SLURM_JWT
refuse_foreign_code
refuse_another_runs
begun='' ended=''
clock begun
new_attempt
record ""

# A task's own /tmp: X locks, ports' files and simulators' caches of two tasks on one node never meet.
# Where there is no room for it the node is bad: the record says that the task failed at once, so that it is avoided.
scratch=${SELU_SCRATCH:-${SLURM_TMPDIR:-/tmp}}/selu-$element
if (( restarts > 0 )); then # an earlier start of this very element may have been killed with whoever would tidy up
    for left in "$scratch".??????; do
        [[ -d $left && ! -L $left && -O $left ]] && rm -rf -- "$left"
    done
fi
if ! scratch=$(mktemp -d "$scratch.XXXXXX" 2>&1); then
    echo "error: $scratch" | tee -- "$folder/slurm.log" >&2
    clock ended
    record ", \"ended\": $ended, \"code\": 73"
    exit 73
fi
export TMPDIR=$scratch
# What the submitting shell inherited from a job of its own would bind this step to CPUs that are not ours.
unset SLURM_CPU_BIND SLURM_MEM_BIND SLURM_CPU_BIND_TYPE SLURM_CPU_BIND_LIST SLURM_CPU_BIND_VERBOSE SLURM_EXPORT_ENV
# And what it, or a module, has from a launcher of its own would tell our ranks that they are others.
unset RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK ROLE_RANK ROLE_WORLD_SIZE MASTER_ADDR MASTER_PORT
unset SELU_PARENT_STORE "${!TORCHELASTIC_@}"

told='' passed='' code=0
trap 'forward USR2' USR2
trap 'forward TERM' TERM
# Ranks end together; where one is gone, for whatever reason, the others would hold their GPUs until they give it up.
srun --ntasks="$ranks" --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=0 --unbuffered \
    --wait=$((ranks > 1 ? 60 : 0)) --export=ALL \
    "$@" --shard "$shard" --attempt "$attempt" > "$folder/slurm.log" 2>&1 &
step=$!
[[ -n $told && -z $passed ]] && forward "$told" # it came before the step had a number
wait "$step"
code=$?
while kill -0 "$step" 2>/dev/null; do # a trap ended the wait, not the step
    wait "$step"
    code=$?
done
if [[ -n $told ]]; then # a trap may have ended the wait in the moment in which the step ended
    wait "$step"
    ended_with=$?
    (( ended_with == 127 )) || code=$ended_with
fi
rm -rf -- "$scratch"

clock ended
fields=", \"ended\": $ended, \"code\": $code"
[[ -n $told ]] && fields+=", \"signal\": \"$told\""
if (( code != 0 )); then
    # A GPU's memory is another matter: more of the node's would not help.
    grep -aiE 'oom.?kill|out of memory|exceeded (job |step )?memory limit' "$folder/slurm.log" |
        grep -avE 'CUDA|HIP' > /dev/null && fields+=', "oom": true'
    patience=$((SECONDS + (code == 75 ? ${SELU_PATIENCE_S:-60} : 0)))
    look
    state=${now#*JobState=} state=${state%% *}
    # COMPLETING only says that Slurm is ending it, be it cancelled, preempted or out of time.
    if [[ $state == COMPLETING ]]; then
        state=''
        [[ $now == *Reason=TimeLimit* && $now != *PreemptTime=2* ]] && state=TIMEOUT
    fi
    stalled=0
    if (( code == 75 )); then
        measure
        fields+=", \"done\": $reached, \"total\": $total, \"stalled\": $stalled"
        if (( stalled >= max_stalls )); then
            state=TIMEOUT
            echo "error: its time is too short: it was over again and nothing more is done than before" |
                tee -a -- "$folder/slurm.log" >&2
        fi
    fi
    fields+=", \"state\": \"$state\""
    # A cancelled job must stay cancelled; one that is being preempted, or whose stage saved and asked, goes on.
    if [[ $now == *JobState=RUNNING* ]] && (( stalled < max_stalls && restarts < max_requeues )); then
        if (( code == 75 )) || [[ $now == *PreemptTime=2* ]]; then
            record "$fields, \"requeued\": true"
            if requeue; then
                sleep 60 # Slurm ends it, and then this script, as part of the requeue
                exit "$code"
            fi
        fi
    fi
fi
record "$fields"
exit "$code"
