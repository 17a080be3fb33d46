"""scikit-learn's estimators on the compiled engine: thin adapters over what the other rooms do."""
