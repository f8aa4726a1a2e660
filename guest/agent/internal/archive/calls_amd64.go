package archive

// The kernel's number of fstatat; its name differs between architectures.
const sysFstatat = 262
