"""The four card games of RL4VLM: pictures of 300×300, actions with names, rewards by versioned rules."""
