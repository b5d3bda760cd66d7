"""What happens when something dies, stalls or gets lost. Every test proves that its fault took place."""
