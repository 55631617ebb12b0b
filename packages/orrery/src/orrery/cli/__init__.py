"""The commands: one file per noun; `main` is the tree, `session` what every command gets, `output` how it answers."""
