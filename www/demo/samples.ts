/** The pictures of www/samples, as its README lists them. */

/** A picture that the page offers. */
export interface Sample {
  /** Relative to the page. */
  src: string;
  /** What it shows. */
  alt: string;
  /** Whom to name, and the terms. */
  credit: string;
}

export const SAMPLES: readonly Sample[] = [
  { src: './samples/street.png', alt: 'Cars and people in a street', credit: 'dlib, public domain' },
  { src: './samples/astronaut.png', alt: 'An astronaut', credit: 'NASA, public domain' },
  { src: './samples/chelsea.png', alt: 'A cat', credit: 'Stefan van der Walt, CC0' },
  { src: './samples/china.png', alt: 'A pavilion by a lake', credit: 'danielbuechele, CC BY 2.0' },
  { src: './samples/coffee.png', alt: 'A cup of coffee', credit: 'Rachel Michetti, CC0' },
  { src: './samples/grace_hopper.png', alt: 'Grace Hopper in uniform', credit: 'US Navy, public domain' },
];
