"""The mistakes that teachers know: what students write, and a sentence that leads them on."""
