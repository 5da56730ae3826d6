//! Who is let in, under which name, and for how long.
