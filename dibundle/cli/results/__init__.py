"""The results of commands, as text and as the JSON documents of spec/json."""
