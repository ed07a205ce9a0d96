"""Training one family: a trunk at constant learning rate and a decaying branch for every token budget."""
