#!/bin/bash
# Runs one array element of a stage on its node, outside any image: the same line for the engine and for the templates.
#
#     bash stage.sh RUN ROUND STAGE [-- COMMAND …]
#
# Without a COMMAND it runs the stage's own entry with $SELU_PYTHON, inside the run's image if it has one (image.json).
# Either gets `--shard N --attempt M` appended.
#
# Owns what must happen beside Slurm and not in the image: the attempt's folder, its record (job.json), private /tmp,
# one srun step, passing warnings on to it, and requeueing the element when the stage asks for it (exit code 75).
# SELU_OFFSET is added to the array index; SELU_RANKS is the number of processes of the one step.
set -uo pipefail
umask "${SELU_UMASK:-$(umask)}"

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
offset=${SELU_OFFSET:-0} ranks=${SELU_RANKS:-1} max_requeues=${SELU_MAX_REQUEUES:-100}
shard=$((offset + ${SLURM_ARRAY_TASK_ID:-0}))
element=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}}
element=${element:-${SLURM_JOB_ID:?this script is started by sbatch}}
restarts=${SLURM_RESTART_COUNT:-0}
printf -v place '%s/rounds/%02d/%s/shard-%04d' "$run" "$round" "$stage" "$shard"

refuse_foreign_code() {
    local mode
    mode=$(stat -Lc %a -- "$run/code" 2>/dev/null) || return 0
    if (( 8#$mode & 8#002 )); then
        echo "error: $run/code may be written by everyone: no job runs code from it; chmod o-w it" >&2
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

job_fields() { scontrol show job "$element" --oneliner 2>/dev/null; }

# shellcheck disable=SC2317 # the traps call it
forward() {
    told=$1
    [[ -n ${step:-} ]] && kill -s "$1" "$step" 2>/dev/null
}

refuse_foreign_code
begun='' ended=''
clock begun
new_attempt
record ""

# A task's own /tmp: X locks, ports' files and simulators' caches of two tasks on one node never meet.
# Where there is no room for it the node is bad: the record says that the task failed at once, so that it is avoided.
if ! scratch=$(mktemp -d "${SELU_SCRATCH:-${SLURM_TMPDIR:-/tmp}}/selu-$element.XXXXXX" 2>&1); then
    echo "error: $scratch" | tee -- "$folder/slurm.log" >&2
    clock ended
    record ", \"ended\": $ended, \"code\": 73"
    exit 73
fi
export TMPDIR=$scratch
# What the submitting shell inherited from a job of its own would bind this step to CPUs that are not ours.
unset SLURM_CPU_BIND SLURM_MEM_BIND SLURM_CPU_BIND_TYPE SLURM_CPU_BIND_LIST SLURM_CPU_BIND_VERBOSE SLURM_EXPORT_ENV

told='' code=0
trap 'forward USR2' USR2
trap 'forward TERM' TERM
srun --ntasks="$ranks" --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=0 --unbuffered \
    --export=ALL \
    "$@" --shard "$shard" --attempt "$attempt" > "$folder/slurm.log" 2>&1 &
step=$!
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
    now=$(job_fields)
    state=${now#*JobState=} state=${state%% *}
    # COMPLETING only says that Slurm is ending it, be it cancelled, preempted or out of time.
    [[ $state == COMPLETING ]] && state=''
    fields+=", \"state\": \"$state\""
    # A cancelled job must stay cancelled; one that is being preempted, or whose stage saved and asked, goes on.
    if [[ $now == *JobState=RUNNING* ]] && (( restarts < max_requeues )); then
        if (( code == 75 )) || [[ $now == *PreemptTime=2* ]]; then
            record "$fields, \"requeued\": true"
            if scontrol requeue "$element"; then
                sleep 60 # Slurm ends it, and then this script, as part of the requeue
                exit "$code"
            fi
        fi
    fi
fi
record "$fields"
exit "$code"
