"""What each of THOR's actions does; a module registers its functions by `@action()`."""
