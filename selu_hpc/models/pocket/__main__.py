from selu_hpc.models.pocket.build import main
from selu_hpc.terminal import enter

if __name__ == "__main__":
    enter(main)
