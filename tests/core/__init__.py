"""The pure core: example tests of every decision, and generated sequences against a model inbox."""
