"""A Slurm whose commands are shell scripts, the profile that fits it, and a finding looked at."""

from selu_hpc.engines.checks.finding import Grade
from selu_hpc.recipes import load_recipe
from selu_hpc.site import Site

CONFIG = """Configuration data as of now
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = lab
MaxArraySize            = 1001
SLURM_VERSION           = 22.05.8
"""
PARTITIONS = (
    "cpu|up|1-00:00:00|2|(null)|64000\ncpu|up|1-00:00:00|1|(null)|191000\n"
    "gpu|up|4:00:00|1|gpu:a100:4|515000\nold|down|infinite|9|(null)|8000\n"
)
MEMORY = "cpu|64000|1-00:00:00\ncpu|191000|1-00:00:00\ngpu|515000|4:00:00\nold|8000|infinite\n"


def scontrol(limit):
    """A controller that answers, and that knows a limit of the user who asks."""
    association = f"Account=lab UserName=$(id -un)(1001) GrpSubmitJobs=N(0) MaxSubmitJobs={limit}(3) MaxWallPJ="
    return (
        "case $1 in ping) echo 'Slurmctld(primary) at head is UP';; "
        f"--oneliner) echo \"ClusterName=lab {association}\";; *) printf '%s' '{CONFIG}';; esac"
    )


ANSWERS = {
    "sbatch": "echo slurm 22.05.8",
    "squeue": "exit 0",
    "sacct": "exit 0",
    "srun": "exit 0",
    "scancel": "exit 0",
    "sinfo": f"case \"$*\" in *%R?%m*) printf '%s' '{MEMORY}';; *) printf '%s' '{PARTITIONS}';; esac",
    "scontrol": scontrol(500),
    "quota": "echo Disk quotas for user: none",
}
SITE = Site.of(
    {
        "name": "lab",
        "partitions": {
            "cpu": {"name": "cpu", "max_timeout_min": 1440},
            "gpu": {"name": "gpu", "max_timeout_min": 240, "gpus_per_node": 4, "gres": "gpu:a100"},
        },
    }
)
SITE_WITH_QOS = SITE.but(
    partitions={"cpu": SITE.partitions["cpu"].but(qos="long", constraint="intel")},
    sbatch_flags={"reservation": "lab"},
)


def config(*settings):
    return load_recipe("selu", settings)


def one(finding):
    """A finding's grade and answer; what is not ok says what to do."""
    assert finding.answer
    assert (finding.grade is Grade.OK) == (not finding.fix)
    return finding.grade, finding.answer
