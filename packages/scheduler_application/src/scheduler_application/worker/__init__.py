"""Workers: their leases (`membership`), what happens when one is gone (`recover`), and what people do to them
(`manage`)."""
