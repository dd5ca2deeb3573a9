# The declarations of edgekern.h as cffi reads them: no preprocessor lines, nothing for C++, no visibility.
# Usage: ek_write_cdef(HEADER OUTPUT); runs again when the header changes.
function(ek_write_cdef HEADER OUTPUT)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${HEADER})
  file(READ ${HEADER} text)
  string(REGEX REPLACE "#ifdef __cplusplus\n[^#]*#endif[^\n]*\n" "" text "${text}")
  string(REGEX REPLACE "#[^\n]*\n" "" text "${text}")
  string(REPLACE "EK_API " "" text "${text}")
  file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "${text}" @ONLY)
endfunction()
