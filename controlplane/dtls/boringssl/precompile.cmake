# Headers that nearly every file of BoringSSL includes, compiled once: a third of the build's time.
function(ion_precompile_headers)
  set(headers)
  foreach(header openssl/ssl.h openssl/x509.h algorithm functional memory optional string string_view)
    list(APPEND headers "$<$<COMPILE_LANGUAGE:CXX>:<${header}$<ANGLE-R>>")
  endforeach()
  foreach(target crypto ssl)
    target_precompile_headers(${target} PRIVATE ${headers})
  endforeach()
endfunction()
# The targets do not exist yet when a project's include file is read.
cmake_language(DEFER DIRECTORY ${CMAKE_SOURCE_DIR} CALL ion_precompile_headers)
