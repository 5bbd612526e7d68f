# Thin names over cargo: nothing here that `cargo` alone could not do.

# Check everything, change nothing
test *ARGS:
    cargo xtask test {{ARGS}}

# Fix what a machine can fix: formatting and clippy's suggestions
fix:
    cargo xtask fix

# Measure; see bench/README.md
bench *ARGS:
    cargo xtask bench {{ARGS}}

# Play simulated clusters: just simulate --seeds 1000
simulate *ARGS:
    cargo xtask simulate {{ARGS}}

# Start a node: just node --name oskar
node *ARGS:
    cargo run --release -- node {{ARGS}}

# Watch three nodes lose one
demo *ARGS:
    cargo run --release -- demo {{ARGS}}

# Run one workload over the four strategies, with a fault in the middle
compare *ARGS:
    cargo run --release -- compare {{ARGS}}

# Walk through the pages in a real browser
browse:
    cargo xtask browse
