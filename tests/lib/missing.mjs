/** Something that the machine or the build lacks: the scenario is skipped, and this says why. */
export class Missing extends Error {}
