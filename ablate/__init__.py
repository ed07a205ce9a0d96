"""`ablate`: is it the data, the parameters or the tokens? One YAML file, a grid of models, a verdict with its interval."""
