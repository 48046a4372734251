"""The contest for the default network: candidates under one protocol, on one data set."""
