"""What commands say of a result: as text, and as the JSON documents of spec/json."""
