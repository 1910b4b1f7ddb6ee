"""Other people's tools and data bear witness to what the forge writes."""
