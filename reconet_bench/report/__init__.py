"""Reports read records only: any of them can be rebuilt without the data, the models or a GPU."""
