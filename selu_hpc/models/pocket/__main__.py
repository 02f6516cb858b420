from selu_hpc.models.pocket.build import main

if __name__ == "__main__":
    main()
