# Nothing set.
