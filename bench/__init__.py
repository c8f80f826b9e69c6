"""The benchmark: vtopo beside the kernel's floor and Mininet, the same labs, in one run."""
