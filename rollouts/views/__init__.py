"""The pages of the rollouts app: the list, the board with its decisions, and the panels that other pages take."""
