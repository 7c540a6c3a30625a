"""What each provider responds: Apple's reasons and Google's error bodies. The fakes and their fault plans share them."""
